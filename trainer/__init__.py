"""Trains networks on data sets, judges what came of it and publishes it as model versions.

TensorFlow and Keras are imported only inside functions: the command line, beat and Flower must
start without them.
"""
