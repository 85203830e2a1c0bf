"""Nuclei that nobody stained, for training without annotated images: `synthesis.synthesise`.

shapes       where they lie, what shape they have, and their labels
light        how they shine, and what shines beside them
microscope   optics, planes, noise, numbers
synthesis    all of it, from a seed
"""
