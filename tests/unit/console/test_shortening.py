from console.shortening import shortened


def test_the_middle_of_a_long_name_is_left_out() -> None:
    assert shortened("0123456789", 10) == "0123456789"
    assert shortened("0123456789", 7) == "012…789"
    assert shortened("0123456789", 6) == "012…89"
