"""The same server for gunicorn."""
import os
import time


def application(environ, start_response):
    _, what, *ms = environ["PATH_INFO"].split("/")
    body = b"Hello, world!\n"
    if what == "who":
        body = b"%d\n" % os.getpid()
    elif what in ("block", "wait"):
        time.sleep(int(ms[0]) / 1000)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
