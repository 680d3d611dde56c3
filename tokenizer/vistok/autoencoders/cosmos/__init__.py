"""The autoencoders of Cosmos Tokenizer (NVIDIA, arXiv:2501.03575; github.com/NVIDIA/Cosmos-Tokenizer).

Wavelets make patches of pixels, and a VQGAN goes on from there. For clips all of it is causal.
"""
