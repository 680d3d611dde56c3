"""The convolutional autoencoder of VQGAN (Esser et al., arXiv:2012.09841) and of what descends from it."""
