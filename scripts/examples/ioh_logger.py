"""Log a search for IOHanalyzer: `pip install ioh && python scripts/examples/ioh_logger.py [FOLDER]`."""

import sys

import ioh

from nne import optimize

problem = ioh.get_problem("LABS", instance=1, dimension=64, problem_class=ioh.ProblemClass.PBO)
folder = sys.argv[1] if len(sys.argv) > 1 else "outputs"
logger = ioh.logger.Analyzer(root=folder, folder_name="ioh", algorithm_name="nne")
problem.attach_logger(logger)
for seed in range(3):
    found = optimize(lambda x: [problem(genotype) for genotype in x.long().tolist()], 64, 5000, seed=seed)
    print(f"seed {seed}: merit factor {found.fitness:.3f}, found after {found.history[-1][0]} evaluations")
    problem.reset()
logger.close()
print(f"logged in {logger.output_directory}")
