"""What lies on shared storage: data sets, model versions and jobs.

Files are the one truth of batchsight. Everything here works on a plain folder that all
machines see, knows nothing of the queue and never imports TensorFlow.
"""
