"""The mathematics of single methods, as modules and functions of tensors. Imports the files beside the rooms only."""
