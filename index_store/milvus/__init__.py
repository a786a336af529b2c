"""The vector engine on a Milvus server, which follows the change log."""
