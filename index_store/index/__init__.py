"""The FAISS index: vectors on disk, candidate list, refinement codes, exact reranking, measured recall."""
