"""Built-in schedules of expkit, one component per file; found by entry points like anyone's.

All but `reduce_on_plateau` compute the rate from the step's number alone, as a factor on the optimizer's: those of
Paddle's classes that multiply their way to the next rate add up rounding errors. Paddle's NaturalExpDecay is
`exponential` with factor exp(-gamma).
"""
