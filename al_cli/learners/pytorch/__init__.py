"""What learners of torch share: checkpoints, equal bytes of equal calls, schedules, loss curves, averages of weights, LiSSA.

Knows no detector and no classifier.
"""
