#!/usr/bin/env python
from releasesite.command import main

if __name__ == "__main__":
    main()
