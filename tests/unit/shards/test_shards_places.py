"""The arithmetic of shards' URLs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.shards.places import base_name, folder_of, relative, resolve

NAME = st.text("abc{}*%20+.-_ ", min_size=1).filter(lambda name: name.strip(". "))
FOLDER = st.sampled_from(["/data", "s3://bucket/a/b", "https://host/a/b", "http://host"])


@given(FOLDER, NAME)
def test_a_url_is_its_folder_and_its_name(folder: str, name: str) -> None:
    url = f"{folder}/{name}"
    assert (folder_of(url), base_name(url)) == (folder, name)


@given(st.sampled_from(["https://host/a/b", "http://host"]), NAME, st.text("ab/?=&", min_size=1))
def test_the_query_of_a_web_servers_url_is_part_of_neither(folder: str, name: str, query: str) -> None:
    url = f"{folder}/{name}?{query}"
    assert (folder_of(url), base_name(url)) == (folder, name)
    assert resolve(folder, relative(folder, url.rstrip("/"))) == url.rstrip("/")


@pytest.mark.parametrize("folder", ["/data", "s3://bucket/a"])
def test_question_marks_elsewhere_are_letters(folder: str) -> None:
    assert base_name(f"{folder}/what?.tar") == "what?.tar"
    assert folder_of(f"{folder}/a?b/c.tar") == f"{folder}/a?b"
