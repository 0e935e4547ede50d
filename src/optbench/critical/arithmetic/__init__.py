"""Arithmetics that run a program: intervals, their jets, Arb balls, fractions, power series; rounded outward."""
