import time, json, shutil
import pandas as pd
from pathlib import Path
T="model=tiny_bert task=demo_rte training.max_steps=2 data.max_train_examples=32 data.max_eval_examples=16 tracker=none".split()
def test_a(warm, tmp_path):
    good = pd.DataFrame({"a":["x y","z w"]*20,"b":["u","v"]*20,"label":["yes","no"]*20})
    good.to_csv(tmp_path/"good.csv",index=False)
    good.assign(label="maybe").to_csv(tmp_path/"unknown.csv",index=False)
    good.iloc[:0].to_csv(tmp_path/"empty.csv",index=False)
    (tmp_path/"zero.csv").write_text("")
    (tmp_path/"root/rte").mkdir(parents=True)
    (tmp_path/"root/rte/train.parquet").write_bytes(b"PAR1 not")
    (tmp_path/"root/rte/validation.parquet").write_bytes(b"PAR1 not")
    (tmp_path/"nomodel").mkdir()
    (tmp_path/"badjson").mkdir(); (tmp_path/"badjson/config.json").write_text("{")
    (tmp_path/"listjson").mkdir(); (tmp_path/"listjson/config.json").write_text("[]")
    (tmp_path/"onlyconfig").mkdir(); (tmp_path/"onlyconfig/config.json").write_text('{"model_type":"bert"}')
    (tmp_path/"file").write_text("x")
    C="task=custom task.train_file=good.csv task.validation_file=good.csv task.text_columns=[a,b]".split()
    rows = [["task=rtee"],["modle=tiny_bert"],["method=hype"],["method=[vanilla,hype_x]"],["recipe=x"],["tracker=x"],
     ["training.learning_rte=1"],["sed=1"],["+foo=1"],["+training.foo=1"],["method=hype_n","method.hype_n.scal=1"],["~seed"],
     ["seed=one"],["training.learning_rate=fast"],["training.epochs=[1]"],["data=3"],["training=3"],["method=3"],["training.max_steps=true"],["training.max_steps=2.5"],["data.max_length=x"],
     ["training.learning_rate=-1"],["training.learning_rate=nan"],["training.dropout=1"],["data.max_length=1"],["seed=-1"],["noise_scale=-1"],["training.batch_size=0"],["training.adam_betas=[0.9]"],["training.adam_betas=[0.9,1.0]"],["training.precision=fp64"],["training.optimizer=sgd"],["method=hype_n","method.hype_n.scale=-1"],["method=hype_n","method.hype_n.layers=best"],["method=hype_n","method.hype_n.layers=[99]"],["method=hype_n","method.hype_n.scale=many"],["noise_scale=inf","method=hype_n"],
     ["training.precision=fp16"],["training.precision=tf32"],["model=tiny_xlnet","training.packing=on"],["model=tiny_xlnet","training.gradient_checkpointing=true"],["method=[hype_n,no_dropout]"],["method=[hype_n,hype_n]"],["training.epochs=1"],["device=tpu"],["device=cuda"],["device=cuda:x"],["method=[]"],["training.warmup_steps=2","training.warmup_ratio=.1"],
     [*C,"task.text_columns=[a,c]"],[*C,"task.label_column=lab"],[*C,"task.validation_file=unknown.csv"],[*C,"task.labels=[yes]"],[*C,"task.train_file=empty.csv"],[*C,"task.train_file=zero.csv"],[*C,"task.train_file=none.csv"],[*C,"task.train_file=x.docx"],[*C,"task.metric=pearson"],[*C,"task.metric=bleu"],["task=custom"],[*C,"task.text_columns=a"],[*C,"task.text_columns=[]"],
     ["task=rte","data.root=root"],["task=rte","data.root=nowhere"],["task=cola","data.root=root"],["task=rte"],["model=bert_base"],["model=deberta_v2_xlarge"],
     ["model.name_or_path=./nomodel"],["model.name_or_path=nomodel"],["model.name_or_path=./badjson"],["model.name_or_path=./listjson"],["model.name_or_path=./onlyconfig"],["model.name_or_path=/nowhere"],["model.name_or_path=some/model"],
     ["results_dir=file/x"],["results_dir=file"],["results_dir=/proc/x"],["results_dir="],["results_dir=file/x","-m","seed=1,2"],["results_dir=/proc/x","-m","seed=1,2"],
     ["-m","seed=1,2","task=demo_rte,rtee"],["-m","seed=1,-1"],["--foo"],["x"],["seed="],["seed=1,2"],["'"],["a=[","-m"],["training.evaluate_every=-1"],["experiment=a/b"],["task.metric=matthews"]]
    for a in rows:
        t=time.time(); r=warm(*T,*a); print("\n##",*a, "->", r.returncode, f"{time.time()-t:.1f}"); 
        if r.stdout: print("OUT",r.stdout.rstrip())
        print(r.stderr.rstrip())
