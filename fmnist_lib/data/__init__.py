"""FashionMNIST: obtained, verified, loaded, split and augmented."""
