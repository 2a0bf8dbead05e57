"""The URLs of the project and their views."""

from django.contrib import admin
from django.urls import path

from library import views

urlpatterns = [
    path("", views.books, name="books"),
    path("books.csv", views.books_csv, name="books_csv"),
    path("upload/", views.upload, name="upload"),
    path("admin/", admin.site.urls),
]
