from django.contrib import admin

from .models import Book, Document


@admin.register(Book)
class BookAdmin(admin.ModelAdmin):
    list_display = ["title", "author", "published"]
    search_fields = ["title", "author"]


@admin.register(Document)
class DocumentAdmin(admin.ModelAdmin):
    list_display = ["name", "size", "uploaded"]
    readonly_fields = ["size", "sha256", "uploaded"]
