"""What a program can be run in: intervals and their derivatives, Arb balls, fractions, power series.

Run on numbers, a surface's program gives a value. Run on intervals it gives a range that holds the values of a whole
box of points; on jets of intervals, ranges of the gradient and the Hessian too. Every end is rounded outward, so that
the range can only be too wide and a conclusion drawn from it ("the gradient does not vanish here") is a theorem.
Fractions know zero from a very small number, which intervals never do: they settle points with simple coordinates. Each
kind is a `programs.scalar.Scalar`, and none knows the surface's code.

In reading order:

    ends               arrays of intervals, rounded outward: the basis of every proof here
    functions          sin, exp, tanh ... of intervals with two derivatives: one table for all
    interval           one interval a box
    jet                an interval with gradient and Hessian, by the coordinates on which it depends
    exact              fractions with a gradient; None is a number that is not known
    elementary_series  Taylor coefficients of the elementary functions, in fractions or intervals
    power_series       several variables, to a given degree: multiplicities, folds
    arb                Arb balls with gradient and Hessian: for the second proof alone

What to trust: + - * / and square roots are rounded outward by a step that is at least one unit in the last place, which
is a proof on any machine with IEEE arithmetic. Library functions (sin, exp ...) are *assumed* to err by at most four
units in the last place (measured: 1.6); `arb` proves them instead. Where a function is not continuous the range is
unbounded, derivatives where it is not differentiable: nothing is certified across a jump or a kink. mpmath judges every
function in the tests, at the hardest arguments that we know.

Sources: R. E. Moore, Interval Analysis, 1966; A. Griewank & A. Walther, Evaluating Derivatives, 2008, section 13.2; F.
Johansson, IEEE Trans. Comput. 66 (2017) 1281 (Arb).
"""
