import sys

from tasks.simulator.serve import main

if __name__ == "__main__":
    sys.exit(main())
