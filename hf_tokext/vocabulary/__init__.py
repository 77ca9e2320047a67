"""What a token is: the bytes of every id, the roles of special ids, and two vocabularies side by side."""
