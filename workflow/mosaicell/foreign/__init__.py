"""Networks made elsewhere, with whatever library: how they are described, opened and run.

card        what is said of a network beside its file, checked
bioimageio  the same from a BioImage.IO model folder
archive     TorchScript and torch.export files, opened without running Python that is in them
network     such a network as `predict` wants it: windows in, the landscape of their cores out
"""
