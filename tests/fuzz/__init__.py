"""Damaged files of every format that is read: the answer equals the reference reader's, or is one `ScvecError`.

A mutant is made of a valid file, a format's name and a seed alone: ``python -m tests.fuzz h5ad 17`` makes and reads one
again. ``make test`` reads 50 of each format, ``make fuzz`` 2,000.
"""
