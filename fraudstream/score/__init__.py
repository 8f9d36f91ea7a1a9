"""The three models and how they become one score; pure computation on arrays, nothing here is fitted."""
