"""The page with a field for the token, for a visitor without one."""

from __future__ import annotations

import base64
import hashlib
from html import escape

from aiohttp import web

STYLE = (
    ":root{color-scheme:dark light;font:16px/1.5 system-ui,sans-serif}"
    "body{margin:0 auto;max-width:26rem;padding:2rem 1.2rem}"
    "input,button{box-sizing:border-box;font:inherit;margin:.4rem 0;min-height:2.8rem;"
    "padding:.4rem .7rem;width:100%}"
)
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)


def sign_in_page(status: int, why: str) -> web.Response:
    """An HTML page that says why, with a form that sends a token to "/"."""
    text = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Token needed</title><style>{STYLE}</style></head>
<body><main><h1>Token needed</h1><p role="alert">{escape(why)}</p>
<form action="/" method="get"><label for="token">Token</label>
<input id="token" name="token" type="password" required autofocus autocomplete="off">
<button>Open</button></form>
<p>The token is the part of the printed address after <code>token=</code>. It changes each time the
server starts. On a phone, scan the QR code below the address.</p></main></body></html>
"""
    page = web.Response(text=text, status=status, content_type="text/html")
    page.headers["Content-Security-Policy"] = POLICY
    return page
