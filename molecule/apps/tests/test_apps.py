"""Apps that nobody here wrote do what they are for, behind nginx, several on a host."""


def test_it_does_what_its_users_do(site, use):
    use(site)
