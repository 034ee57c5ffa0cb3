"""The bar of a run."""

import pytest

from ui.runs.run_bar import networks_line


@pytest.mark.parametrize(
    "names, line",
    [
        (("CNN · Set · seed 0", "CNN · Set · seed 1"), "CNN · Set · :blue[●] seed 0 :gray[+] :orange[◆] seed 1"),
        (("CNN · seed 0", "MLP · seed 0"), ":blue[●] CNN · seed 0 :gray[+] :orange[◆] MLP · seed 0"),
        (("one", "one"), ":blue[●] one :gray[+] :orange[◆] one"),
        (("N · a", "N · b", "N"), ":blue[●] N · a :gray[+] :orange[◆] N · b :gray[+] N"),
    ],
)
def test_what_names_of_networks_share_is_written_once(names, line):
    assert networks_line(names) == line
