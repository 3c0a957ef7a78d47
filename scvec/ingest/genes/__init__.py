"""What is known of genes: NCBI's files, the texts made of them in the store, and what genes are called."""
