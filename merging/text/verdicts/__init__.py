"""What a finished run says: sentences and headline figures of merges, partial zips and many networks. torch-free."""
