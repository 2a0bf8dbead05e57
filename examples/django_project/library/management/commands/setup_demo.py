"""Prepares the demonstration: database, static files, books and an administrator."""

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import connection

from demo.secret import secret_from
from library.models import Book

TITLES = ["The Lighthouse", "A Winter's Road", "Salt and Stone", "The Clockmaker", "Under the Elms", "Letters Home"]
AUTHORS = ["A. Lindqvist", "M. Okafor", "J. Moreau", "T. Sato", "R. Varga"]
FIRST_YEAR, YEARS = 1900, 125


class Command(BaseCommand):
    help = "Makes the database, collects static files, and adds books and an administrator. May be run again."

    def add_arguments(self, parser):
        parser.add_argument("--books", type=int, default=2000, help="how many books there shall be at least")

    def handle(self, *args, books, **options):
        call_command("migrate", interactive=False, verbosity=0)
        # Stored in the database file. Without it a download that reads for minutes would block writers.
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA journal_mode=WAL")
        call_command("collectstatic", interactive=False, verbosity=0)
        settings.MEDIA_ROOT.mkdir(exist_ok=True)
        add_books(books)
        password = secret_from(settings.DATA_DIR / "admin_password", length=12)
        users = get_user_model().objects
        if not users.filter(username="admin").exists():
            users.create_superuser("admin", password=password)
        self.stdout.write(f"{Book.objects.count()} books; log in at /admin/ as admin with password {password}")


def add_books(wanted):
    Book.objects.bulk_create(
        [
            Book(
                title=f"{TITLES[number % len(TITLES)]}, volume {number // len(TITLES) + 1}",
                author=AUTHORS[number % len(AUTHORS)],
                published=FIRST_YEAR + number * 7 % YEARS,
            )
            for number in range(Book.objects.count(), wanted)
        ],
        batch_size=200,
    )
