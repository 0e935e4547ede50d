"""A result proved again, by something that does not share what the first proof rests on.

A proof by computer is as good as its program. So there are two more ways to the same list. `--verify arb` runs branch
and bound once more in Arb balls, where each elementary function is proved by its library: no assumption about sin and
exp is left, and no code of the intervals is used; nothing is taken over but the claims, which are compared.
`--certificate` goes further: it writes down, for each cell of a plain halving of the box, the one test that closes it,
in a file that `optbench.check_proof` judges, a single file of standard Python with exact interval arithmetic of its
own. A sceptic needs to read that file alone, and nothing else of this package.

In reading order:

    agreement    do two lists of critical points say the same? in words
    verify       branch and bound in Arb balls, one box at a time, written to be read
    certificate  the certificate, written cell by cell; the checker accepts each before it is written down

What to trust: the surface's program (`programs`) and the separation into terms are shared by all proofs; all else is
done anew. A certificate claims points to 2^-80 of the box's width, their types and their number; what makes the
checker's work easier (unique boxes, preconditioners, weights) is a hint and may be wrong without harm.

Sources: F. Johansson, IEEE Trans. Comput. 66 (2017) 1281; for certificates that a small checker repeats, the tradition
of R. M. McConnell, K. Mehlhorn, S. Naher & P. Schweitzer, Certifying algorithms, Computer Science Review 5 (2011) 119.
"""
