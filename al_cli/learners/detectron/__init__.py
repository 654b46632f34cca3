"""Any detector of Detectron2 as a learner: `learner` is the whole; its rooms are model, training, signals and influence."""
