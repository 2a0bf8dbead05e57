"""Pages, a streamed download and an upload."""

import csv
import hashlib

from django.core.paginator import Paginator
from django.http import StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from .forms import UploadForm
from .models import Book, Document

ROWS_IN_A_BLOCK = 100


@require_safe
def books(request):
    page = Paginator(Book.objects.all(), 20).get_page(request.GET.get("page"))
    return render(request, "library/books.html", {"page": page})


@require_safe
def books_csv(request):
    """Sends all books while the database is still reading them, so that memory use does not grow with their number."""
    response = StreamingHttpResponse(csv_blocks(), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="books.csv"'
    return response


def csv_blocks():
    block = Block()
    writer = csv.writer(block)
    writer.writerow(["id", "title", "author", "published"])
    rows = Book.objects.values_list("id", "title", "author", "published")
    for number, row in enumerate(rows.iterator(chunk_size=ROWS_IN_A_BLOCK), start=1):
        writer.writerow(row)
        # The server sends each block at once, so each block has more than one line.
        if number % ROWS_IN_A_BLOCK == 0:
            yield block.take()
    yield block.take()


class Block:
    """A file for the csv writer whose lines are taken out from time to time."""

    def __init__(self):
        self.lines = []

    def write(self, line):
        self.lines.append(line)

    def take(self):
        lines, self.lines = self.lines, []
        return "".join(lines)


@require_http_methods(["GET", "HEAD", "POST"])
def upload(request):
    form = UploadForm(request.POST or None, request.FILES or None)
    if form.is_valid():
        file = form.cleaned_data["file"]
        digest = hashlib.sha256()
        for chunk in file.chunks():
            digest.update(chunk)
        Document.objects.create(name=file.name, file=file, size=file.size, sha256=digest.hexdigest())
        return redirect("upload")
    status = 400 if request.method == "POST" else 200
    return render(request, "library/upload.html", {"form": form, "documents": Document.objects.all()[:20]}, status=status)
