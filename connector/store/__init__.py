import connector.store.sign_in_tables  # noqa: F401 - its tables belong to the metadata, whoever looks at that
