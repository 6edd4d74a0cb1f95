"""Built-in optimizers of expkit, one component per file; found by entry points like anyone's.

They are those of Paddle 3.3 except LBFGS: it evaluates the loss several times within one step, so it needs a closure
over the batch, while a learner makes one forward and one backward pass a step and shows the optimizer the gradients.
"""
