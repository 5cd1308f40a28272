"""The ground floor: all that kerasreg knows of the insides of Keras, KerasTuner and TensorFlow.

No other package imports a private module of theirs, reads a private attribute of one of their
objects, or replaces one. Each function answers one question, and says for which versions it was
read; `tests/_keras` asks each of them by name. Functions of a model that need nothing private
(the graph, layers, weights, fans) are here too, since they are what everything else stands on.
"""
