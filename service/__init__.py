"""WHERE it is used: a web service that answers from one checkpoint folder.

One request reads: bytes -> image -> tensor -> batch -> encoder -> response. The files in order:

exchange            one request: its id, its clock, its headers
reading             bytes of a body -> uploads (multipart, arrays: two of the four input forms)
options, accept     what was asked for, and in which form       pairing   which images to compare
images, decoding    one stranger's image -> pixels, and the threads that do it
batcher, owner      the queue in front of the model, and the thread behind it (jobs, batches)
engine, scoring     the model, and mutual information from its critics
answers, pictures   numbers -> bytes of an answer
envelope            what every answer has in common             errors    every way to fail
routes/             one file a route                            schemas   their JSON, documented
backend, app        all of it put together                      metrics, logs   counted and written
settings, limits    what an operator may choose                 server, __main__   up and down
"""
