"""The local page on which a trained classifier can be tried in a browser.

``examination`` classifies single photos and finds what speaks for the class. ``upload`` reads a photo from a request.
``guard`` refuses requests from other sites. ``application`` joins them behind the two addresses ``/`` and
``/classify``, ``page`` renders the page, and ``listening`` opens the socket and serves on it.

``application``, ``guard``, ``upload`` and ``listening`` need Starlette, uvicorn and python-multipart.
"""
