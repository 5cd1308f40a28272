"""The optimizers that searches choose from, by name.

The command offers these names in its help, before Keras is loaded.
"""

OPTIMIZERS = ("sgd", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw")
