"""The server inside the pod: a KServe model server for Shopflow's packages."""
