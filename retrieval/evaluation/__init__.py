"""How well an archive's own cases find each other, by leave-one-patient-out.

In the order in which an evaluation goes through the modules (terms of information retrieval):

    dataset            the cases that have a category, as arrays
      │
      ├─ material      embeds, generates and reads whatever the experiment needs
      │    └─ experiment        what ranks (channels and fusions of them; each makes one run)
      │                         and who queries by what (query types: by image, by report, by both)
      │
      ├─ tasks         what is to be found: site, category, category within the site. A task says which cases are
      │    │           candidates of a query, and which class a case is of
      │    ├─ relevance         judgements (qrels) of a task: which candidates are relevant, what a ranking is worth
      │    │    └─ chance_baseline       what a random ranking of the candidates is worth
      │    └─ identical_reports the same for a further task of queries by report: cases whose report says the same
      │
      ├─ batched_rankings       block by block of queries, how every run ranks the candidates' patients
      ├─ runs                   each run's figures, query by query
      └─ tables        means over categories, intervals, differences, confounders, abstention
           └─ results  the records that are returned, printed and written as JSON

`evaluate` calls these in this order. `fusion_tuning` takes the same steps down to `batched_rankings`, to choose the
weights of a fusion. `colour_baseline` reads the colours that every encoder has to beat.
"""
