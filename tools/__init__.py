"""Scripts for those who maintain scvec; no part of the package."""
