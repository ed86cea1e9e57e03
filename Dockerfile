# The demo on a CPU, from a checkout:
#   docker build -t gfvideo .
#   docker run --rm -v "$PWD/work_dirs:/app/work_dirs" gfvideo
FROM python:3.12-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make libgomp1 \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /app
# the libraries first: they stay as they are while the code changes
COPY Makefile setup.cfg setup.py pyproject.toml constraints.txt README.md LICENSE ./
COPY gfvideo/__init__.py gfvideo/__init__.py
COPY tools/find_python.sh tools/setup_environment.py tools/check_environment.py tools/
RUN make install EXTRAS=prep,hub

COPY . .
ENV OMP_NUM_THREADS=1
CMD ["make", "demo", "EXTRAS=prep,hub"]
