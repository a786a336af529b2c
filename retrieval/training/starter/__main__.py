from retrieval.training.starter.train import main

main()
