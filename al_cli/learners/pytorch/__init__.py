"""What every learner of torch needs: weights in files, equal bytes of equal calls, averages of weights."""
