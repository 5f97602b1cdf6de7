from worker_text.words import words_of


def test_equal_words_are_one_part_wherever_they_are() -> None:
    words = words_of("Piscine ronde", "Une piscine, RONDE et bleue : Piscine!", 63)
    assert [word.part for word in words.designation] == [0, 1]
    assert [word.part for word in words.description] == [2, 0, 1, 3, 4, None, 0]
    assert words.parts == 5
    assert words.without(0) == ("ronde", "Une RONDE et bleue :")
    assert words.without(None) == ("Piscine ronde", "Une piscine, RONDE et bleue : Piscine!")


def test_markup_is_no_word() -> None:
    words = words_of("<b>Piscine</b>", "n/a", 63)
    assert [word.text for word in words.designation] == ["Piscine"]
    assert words.description == ()


def test_long_text_has_no_more_parts_than_allowed() -> None:
    title = " ".join(f"titre{number}" for number in range(100))
    body = " ".join(f"mot{number}" for number in range(900)) + " titre1"
    words = words_of(title, body, 63)
    parts = [word.part for word in (*words.designation, *words.description)]
    assert sorted({part for part in parts if part is not None}) == list(range(63))
    assert words.parts == 63
    # The first words of the title are alone, also where they are repeated.
    assert parts[:31] == list(range(31))
    assert parts[-1] == 1
    sizes = [parts.count(part) for part in range(31, 63)]
    assert max(sizes) - min(sizes) <= 1
    groups = [part for part in parts if part is not None and part >= 31]
    assert groups == sorted(groups)


def test_product_without_words_has_no_parts() -> None:
    assert words_of("", "…", 63).parts == 0
