"""The storage SCP: who may connect, how an instance is kept before Success is said."""
