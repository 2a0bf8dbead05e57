"""Books, and documents that visitors have uploaded."""

from django.db import models


class Book(models.Model):
    title = models.CharField(max_length=200)
    author = models.CharField(max_length=200)
    published = models.PositiveSmallIntegerField("year of publication")

    class Meta:
        ordering = ["id"]

    def __str__(self):
        return f"{self.title} ({self.author}, {self.published})"


class Document(models.Model):
    name = models.CharField(max_length=255)
    file = models.FileField(upload_to="documents/")
    size = models.PositiveBigIntegerField()
    sha256 = models.CharField("SHA-256", max_length=64)
    uploaded = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self):
        return self.name
