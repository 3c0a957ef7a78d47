"""The options that several verbs share, each group a frozen value."""
