"""The search in the head of every page: what is found as one types, and a page of its own without the script."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from deploys.web.pages.queries.search import search
from inventory.console.pages import is_fragment, page, word
from inventory.names import MAX_OPERATION_ID_LENGTH
from inventory.security.access import access_of

EACH, MOST = 5, 12
EACH_ON_A_PAGE = 40


@page()
def show(request: HttpRequest) -> HttpResponse:
    text = " ".join(word(request.GET, "q", limit=MAX_OPERATION_ID_LENGTH).split())
    each, most = (EACH, MOST) if is_fragment(request) else (EACH_ON_A_PAGE, 5 * EACH_ON_A_PAGE)
    context = {"searched": text, "found": search(access_of(request), text, each=each, most=most)}
    return render(request, "deploys/_search_found.html" if is_fragment(request) else "deploys/search.html", context)
