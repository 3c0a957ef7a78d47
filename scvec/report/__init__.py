"""Results become files and pictures; nothing is computed here."""
